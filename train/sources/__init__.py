"""Float networks of other packages, as the beginning and the teacher of a training; reads them with the export."""
