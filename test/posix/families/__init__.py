"""One module for each family of system calls. Importing one registers its cases."""
