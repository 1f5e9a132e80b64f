"""Where events come from and go to: sources fire a sink and know no engine."""
