"""The readers' page: rendered here, followed by htmx where scripts run, working by plain forms where they do not."""
