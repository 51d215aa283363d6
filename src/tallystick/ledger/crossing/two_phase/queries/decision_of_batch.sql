SELECT committed FROM two_phase_decisions WHERE batch = $1
