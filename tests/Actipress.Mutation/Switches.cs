using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Actipress.Mutation;

/// <summary>
/// Rewrites a file so that every chosen mutant is in it behind a switch: an expression e becomes (Mutants.Is(7) ? wrong : e), a statement s
/// becomes if (Mutants.Is(8)) wrong else s. All mutants are compiled at once; a run turns on one.
/// </summary>
/// <param name="edits">The edits that may be made.</param>
/// <param name="wanted">Whether a mutant is wanted; its number is not known yet.</param>
/// <param name="mutants">Receives the mutants that were written.</param>
/// <param name="first">The number of the first mutant in that list.</param>
sealed class Switches(SemanticModel model, string file, IEdits edits, Func<Mutant, bool> wanted, List<Mutant> mutants, int first)
    : CSharpSyntaxRewriter
{
    public override SyntaxNode? Visit(SyntaxNode? node)
    {
        if (node is null || IsConstant(node)) return node;
        var visited = base.Visit(node);
        if (node is ExpressionSyntax expression && visited is ExpressionSyntax inside && CanSwitch(expression))
            foreach (var wrong in edits.Of(expression, model))
                if (Choose(expression, wrong) is { } mutant)
                    visited = inside = Switch(mutant, Cast(expression, wrong), Cast(expression, inside)).WithTriviaFrom(expression);
        if (node is StatementSyntax statement && visited is StatementSyntax rest
            && statement.Parent is BlockSyntax or IfStatementSyntax or ElseClauseSyntax or SwitchSectionSyntax)
            foreach (var wrong in edits.Of(statement))
                if (Choose(statement, wrong) is { } mutant)
                    visited = rest = Switch(mutant, wrong, rest);
        return visited;
    }

    // A literal that is converted (0 to a byte, say) loses its type where it is one side of a conditional expression.
    ExpressionSyntax Cast(ExpressionSyntax expression, ExpressionSyntax inside)
    {
        if (expression is not LiteralExpressionSyntax) return inside;
        var (type, converted) = (model.GetTypeInfo(expression).Type, model.GetTypeInfo(expression).ConvertedType);
        if (converted is not { IsValueType: true } || SymbolEqualityComparer.Default.Equals(type, converted)) return inside;
        var name = converted.ToDisplayString(SymbolDisplayFormat.FullyQualifiedFormat);
        return SyntaxFactory.ParseExpression($"({name})({Text(inside)})");
    }

    Mutant? Choose(SyntaxNode node, SyntaxNode? wrong)
    {
        var start = node.GetLocation().GetLineSpan().StartLinePosition;
        var code = node.SyntaxTree.GetText().Lines[start.Line].ToString();
        var place = start.Character - (code.Length - code.TrimStart().Length) + 1;
        var after = OnOneLine(Text(wrong));
        var mutant = new Mutant(0, file, start.Line + 1, code.Trim(), place, OnOneLine(Text(node)), after, RunsOnce(node));
        if (!wanted(mutant)) return null;
        mutant = mutant with { Id = first + mutants.Count };
        mutants.Add(mutant);
        return mutant;
    }

    static bool RunsOnce(SyntaxNode node) => node.Ancestors().Any(above => above switch
    {
        FieldDeclarationSyntax or ConstructorDeclarationSyntax => ((MemberDeclarationSyntax)above).Modifiers.Any(SyntaxKind.StaticKeyword),
        PropertyDeclarationSyntax { Initializer: { } value } property =>
            property.Modifiers.Any(SyntaxKind.StaticKeyword) && value.Span.Contains(node.Span),
        _ => false,
    });

    static ExpressionSyntax Switch(Mutant mutant, ExpressionSyntax wrong, ExpressionSyntax right) =>
        SyntaxFactory.ParseExpression($"(global::Mutants.Is({mutant.Id}) ? ({Text(wrong)}) : ({Text(right)}))");

    static StatementSyntax Switch(Mutant mutant, StatementSyntax? wrong, StatementSyntax right) =>
        SyntaxFactory.ParseStatement($"if (global::Mutants.Is({mutant.Id})) {{ {Text(wrong)} }} else {{ {Text(right)} }}\n");

    static string Text(SyntaxNode? node) => node?.WithoutTrivia().ToFullString() ?? "";

    // The language requires a constant at these places, so no switch can stand there.
    static bool IsConstant(SyntaxNode node) => node switch
    {
        AttributeListSyntax or EnumMemberDeclarationSyntax or ParameterSyntax or PatternSyntax or SwitchLabelSyntax => true,
        InterpolationFormatClauseSyntax or InterpolationAlignmentClauseSyntax => true,
        TypeSyntax and not NameSyntax => true,
        BaseFieldDeclarationSyntax field => field.Modifiers.Any(SyntaxKind.ConstKeyword),
        LocalDeclarationStatementSyntax local => local.IsConst,
        InvocationExpressionSyntax { Expression: IdentifierNameSyntax { Identifier.Text: "nameof" } } => true,
        _ => false,
    };

    static bool CanSwitch(ExpressionSyntax expression) =>
        expression.Parent is not (ExpressionStatementSyntax or RefExpressionSyntax or NameColonSyntax or NameEqualsSyntax)
        && expression.Parent is not ArgumentSyntax { RefKindKeyword.RawKind: not 0 }
        && !(expression.Parent is ForStatementSyntax loop && loop.Incrementors.Contains(expression))
        && !(expression.Parent is AssignmentExpressionSyntax assignment && assignment.Left == expression)
        && !(expression.Parent is MemberAccessExpressionSyntax member && member.Name == expression)
        // A variable that both sides of a conditional expression declare would be declared twice.
        && !expression.DescendantNodes().Any(inside => inside is SingleVariableDesignationSyntax or DeclarationExpressionSyntax)
        && !IsPartOfConditionalAccess(expression);

    // In a?.B(c) neither .B nor .B(c) is an expression of its own.
    static bool IsPartOfConditionalAccess(ExpressionSyntax expression) =>
        expression.DescendantNodesAndSelf().Where(inside => inside is MemberBindingExpressionSyntax or ElementBindingExpressionSyntax)
            .Any(inside => !expression.Contains(inside.Ancestors().OfType<ConditionalAccessExpressionSyntax>().First()));

    /// <summary>The code with single blanks, as a mutant shows it. Long code is truncated.</summary>
    public static string OnOneLine(string code)
    {
        var text = Collapsed(code);
        return text.Length <= 160 ? text : text[..157] + "...";
    }

    /// <summary>The code with single blanks.</summary>
    public static string Collapsed(string code) => string.Join(' ', code.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
}
