"""What a program may say, as a TypedDict and as a checked model (`…Settings`); checking: all problems at once."""
