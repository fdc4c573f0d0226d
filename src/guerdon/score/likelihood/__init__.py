"""How likely a language model finds texts: follow-ups, reference answers, and what that says of a response."""
