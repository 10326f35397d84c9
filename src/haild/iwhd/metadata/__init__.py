"""What the image warehouse knows about its objects, in one SQLite database (in place of iwhd.md section 13)."""
