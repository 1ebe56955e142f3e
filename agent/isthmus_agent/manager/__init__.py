"""The manager: fetches what is signed, reports, watches over the server. It knows no interpreter."""
