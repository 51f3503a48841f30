"""Methods that make a model smaller or its training shorter: objectives around objectives, importance, drawing."""
