"""What a certificate cannot say: measured in every verification, shown, and never judged."""
