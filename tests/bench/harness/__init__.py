"""What every measurement needs: servers, load, process figures, tables."""
