"""The Berkeley Function Calling Leaderboard's questions, put to an endpoint, and a checker of the answers."""
