"""What runs in a tab's node worker, under Pyodide: the same replica as on a bridge, in a browser.

The worker's TypeScript loads Pyodide and calls :func:`pyodide_app.boot.start`. From there::

    boot        the only module that touches JavaScript: download, randomness, messages
    node        a tab's node: the driver, wired to messages. Knows nothing of browsers
    messages    what goes between the net worker and this one
"""
