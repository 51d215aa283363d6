-- Decide a batch, unless it was decided already: then there is no row.
INSERT INTO two_phase_decisions (batch, committed) VALUES ($1, $2) ON CONFLICT (batch) DO NOTHING
RETURNING committed
