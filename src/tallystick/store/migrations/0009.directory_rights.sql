-- Tenants and keys are the owner's to write: a server reads them, and one that was taken over can make no tenant, put no
-- key in force, and bring back none that was revoked.
REVOKE INSERT ON tenants, api_keys FROM tallystick_server;
REVOKE UPDATE (revoked_at) ON api_keys FROM tallystick_server;
