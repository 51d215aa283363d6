-- Decide a batch. If it was decided already, no row is returned.
INSERT INTO two_phase_decisions (batch, committed) VALUES ($1, $2) ON CONFLICT (batch) DO NOTHING
RETURNING committed
