"""Command implementations, one module for each noun. ``cli.command_tree`` names them; nothing else imports them."""
