"""Right answers beside the folded solutions: `notebook_NN.ALSO_RIGHT` lists at least one for each exercise."""
