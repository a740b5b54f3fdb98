"""Labels of products: taggers and flags that fill them in, encoders judged by them, pictures."""
