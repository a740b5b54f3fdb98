"""What else to show: candidates of each kind, personal taste, variants, complements, variety."""
