"""The relay: joins clients and nodes into one group, wherever it runs.

It knows neither sockets nor HTTP nor disks. A bridge gives it WebSockets; whoever else can carry
frames may give it other wires.

In dependency order::

    wire         what frames are written to
    connection   one client that has joined, and the registry of all
    inflight     requests on their way, and those that killed their host
    stream       what clients get from the replica
    signaling    what opens data channels between tabs
    directory    which nodes are reachable, and which have just gone
    requests     requests on their way from a client to the host
    handshake    how two bridges prove that they belong together
    routes       which bridge is where, and the least costly way there
    links        links to other bridges: what they carry, and when one is given up
    here         what a relay tells of itself, and of who hosts
    evening      which clients are asked to go to another bridge
    relay        where each frame goes
"""
