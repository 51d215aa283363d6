-- The schema in which this session makes tables, as it is written in a statement.
SELECT quote_ident(current_schema())
