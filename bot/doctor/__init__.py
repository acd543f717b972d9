"""What `secondkey doctor` looks at: the machine, the configuration, the database, the models and Slack."""
