"""One module a noun: options, calls of the API, and what is printed. ``cli.command_tree`` names them; nothing else imports them."""
