/**
 * A PUT with progress, by XMLHttpRequest: `fetch` tells nothing of an upload until it is over, which
 * on a bad Wi-Fi may be minutes, and streams one only by HTTP/2.
 */

import type { Put } from "./file-jobs";

export const put: Put = (url, body, token, abort, moved) =>
  new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const stop = (): void => request.abort();
    const fail = (): void => {
      abort.removeEventListener("abort", stop);
      reject(new Error("The upload broke off."));
    };
    request.open("PUT", url);
    request.setRequestHeader("authorization", `Bearer ${token}`);
    request.upload.onprogress = moved;
    request.upload.onload = moved;
    request.onprogress = moved;
    request.onload = () => {
      abort.removeEventListener("abort", stop);
      resolve({ status: request.status, text: request.responseText });
    };
    request.onerror = fail;
    request.onabort = fail;
    if (abort.aborted) {
      fail();
      return;
    }
    abort.addEventListener("abort", stop);
    request.send(body);
  });
