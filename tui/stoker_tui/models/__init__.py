"""What screens show and do, without Textual: typed, and tested by themselves."""
