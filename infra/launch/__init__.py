"""How each real server is configured and asked whether it is well; one module a server."""
