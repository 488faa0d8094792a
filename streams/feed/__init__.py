"""The live alert feed: Starlette and server-sent events."""
