-- The schema in which this session makes tables, quoted for a statement.
SELECT quote_ident(current_schema())
