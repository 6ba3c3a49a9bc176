"""Chaos: releases arrive while everything around them is killed, paused and broken; then all is checked from outside."""
