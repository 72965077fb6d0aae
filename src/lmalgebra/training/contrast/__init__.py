"""Language models trained by contrast: wanted texts against unwanted ones. Heavy libraries are imported where used."""
