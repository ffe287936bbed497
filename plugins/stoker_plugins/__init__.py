"""First-party plugins. Each is a package of its own and reached through its entry point."""
