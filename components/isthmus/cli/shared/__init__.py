"""What several commands use: how a command is made from its options, and how a page is written."""
