"""HTTP in and out: Docker's network API and Towline's own. JSON stops here."""
