"""What is measured, against what, with the last results in results/."""
