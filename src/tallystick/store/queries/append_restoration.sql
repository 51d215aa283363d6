INSERT INTO restorations (batch, reason) VALUES ($1, $2)
