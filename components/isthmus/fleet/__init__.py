"""What a fleet's reports amount to: waves, gates, and the statistics behind them. Pure."""
