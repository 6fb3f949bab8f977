"""Services made of penstock's own blocks; the command line starts them."""
