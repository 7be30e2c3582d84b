/** see below: written by its owner */
