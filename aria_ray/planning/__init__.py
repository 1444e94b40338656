"""What a recipe needs of a machine and what it can expect there, before anything is booked (`aria plan`)."""
