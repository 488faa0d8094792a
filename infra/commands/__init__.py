"""The commands that infra offers; each module is imported only when one of its commands is called."""
