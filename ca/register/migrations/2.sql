-- What ends soon is asked for by every look at the state.
CREATE INDEX certificates_not_after ON certificates (not_after);
