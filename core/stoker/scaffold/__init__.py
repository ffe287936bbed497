"""New recipes: templates with comments that teach, and the values that are put into them."""
