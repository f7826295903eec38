"""Evidence: what a claim rests on, sealed, checked again, and turned into permits to trade."""
