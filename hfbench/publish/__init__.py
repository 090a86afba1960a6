"""Publishing on the Hub: models that prove what they are, results that rebuild their table."""
