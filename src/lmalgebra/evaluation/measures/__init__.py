"""What is measured of answers, a file for each measure."""
