// A message board, written from FlyWeb's specification and for nothing else:
// navigator.publishServer(name, { uiUrl }), onfetch, onwebsocket, onclose.
const messages = [];
const sockets = new Set();
var server;

function page() {
  const items = messages.map((text) => `<li>${text.replace(/[&<]/g, (c) => `&#${c.charCodeAt(0)};`)}`);
  return `<!doctype html><title>Board</title><ul>${items.join("")}</ul>`;
}

function add(text) {
  messages.push(text);
  const item = document.createElement("li");
  item.textContent = text;
  document.getElementById("messages").append(item);
  for (const socket of sockets) socket.send(JSON.stringify({ text, count: messages.length }));
}

async function answer(request) {
  const url = new URL(request.url);
  if (url.pathname === "/" && request.method === "GET") {
    return new Response(page(), { headers: { "Content-Type": "text/html; charset=utf-8" } });
  }
  if (url.pathname === "/messages" && request.method === "POST") {
    add(await request.text());
    return new Response(String(messages.length), { status: 201, headers: { "X-Board": "1" } });
  }
  if (url.pathname === "/headers") {
    return new Response(JSON.stringify([...request.headers]));
  }
  if (url.pathname === "/slow") {
    const encoder = new TextEncoder();
    let count = 0;
    const body = new ReadableStream({
      async pull(controller) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        controller.enqueue(encoder.encode(`${count}\n`));
        if (++count === 5) controller.close();
      },
    });
    return new Response(body);
  }
  if (url.pathname === "/large") return new Response(new Uint8Array(5_000_000).fill(120));
  if (url.pathname === "/later") return new Response("after a while");
  if (url.pathname === "/broken") throw new Error("on purpose");
  return new Response("Nothing here", { status: 404 });
}

document.getElementById("publish").onclick = async () => {
  const state = document.getElementById("state");
  try {
    server = await navigator.publishServer("Message board", { uiUrl: "/board" });
    state.textContent = `published ${server.name} at ${server.uiUrl}`;
  } catch (error) {
    state.textContent = `failed: ${error.name}`;
    return;
  }
  server.onfetch = async (event) => {
    const { pathname } = new URL(event.request.url);
    if (pathname === "/listener") return;
    if (pathname === "/later") await new Promise((resolve) => setTimeout(resolve, 50));
    event.respondWith(answer(event.request));
  };
  server.addEventListener("fetch", (event) => {
    if (new URL(event.request.url).pathname !== "/listener") return;
    event.respondWith(new Response("from a listener"));
  });
  server.onwebsocket = (event) => {
    const { pathname } = new URL(event.request.url);
    if (pathname === "/wrong") {
      try {
        event.accept("not offered");
      } catch (error) {
        state.textContent = `refused: ${error.name}`;
      }
    }
    if (pathname !== "/live") {
      event.respondWith(new Response("No such room", { status: 404 }));
      return;
    }
    const socket = event.accept("board");
    socket.onopen = () => {
      sockets.add(socket);
      socket.send(JSON.stringify({ welcome: messages.length }));
    };
    socket.onmessage = ({ data }) => {
      if (data === "leave") socket.close(3001, "you asked");
      else add(data);
    };
    socket.onclose = ({ code }) => {
      sockets.delete(socket);
      document.title = `closed ${code}`;
    };
  };
  server.onclose = () => {
    state.textContent = "closed";
  };
};
