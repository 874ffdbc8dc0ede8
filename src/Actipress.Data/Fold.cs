using System.Globalization;

namespace Actipress.Data;

/// <summary>A fold of a cross-validation: its cases are for testing, and those of the other folds for training.</summary>
/// <param name="Number">The number of the fold, from 1.</param>
/// <param name="Count">The number of folds, at least 2.</param>
public readonly record struct Fold(int Number, int Count)
{
    /// <summary>Reads a fold as it is written, such as <c>2/5</c>.</summary>
    /// <exception cref="FormatException">The text is none.</exception>
    public static Fold Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        if (text.Split('/') is [var number, var count]
            && int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var fold)
            && int.TryParse(count, NumberStyles.None, CultureInfo.InvariantCulture, out var folds)
            && folds >= 2 && fold >= 1 && fold <= folds)
            return new(fold, folds);
        throw new FormatException($"fold {text}: wanted a fold and the number of folds, such as 1/5, and 2/5 to 5/5.");
    }

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Number}/{Count}");
}
