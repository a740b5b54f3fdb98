"""What products are labelled with: taggers that fill labels in, flags from all that is known."""
