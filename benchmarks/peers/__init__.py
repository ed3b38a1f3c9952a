"""The servers under measurement, one small file each: an echo, which sends to everybody what begins with a B."""
