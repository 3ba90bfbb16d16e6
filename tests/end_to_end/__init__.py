"""The whole product against the naive recount."""
