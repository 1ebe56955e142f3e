"""Cloud, edge or hybrid: inputs, requirements, presets, the advice, and what would change it. Pure."""
